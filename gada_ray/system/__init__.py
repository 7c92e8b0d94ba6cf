"""The machine: devices, control groups, compiled bytecode."""
