"""GADA: generative adversarial data augmentation for image quality assessment, and studies of it."""
