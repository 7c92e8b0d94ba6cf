from __future__ import annotations

import math

import pytest
import torch

from gada_ray.training import losses

REAL, GENERATED = torch.tensor([2.0, 1.0]), torch.tensor([-1.5, 0.5])


def test_the_source_loss_is_the_negative_log_likelihood_of_eq_1():
    p_real, p_fake = torch.sigmoid(REAL), 1 - torch.sigmoid(GENERATED)
    expected = -(p_real.log().mean() + p_fake.log().mean()) / 2
    torch.testing.assert_close(losses.source_loss("bce", REAL, GENERATED), expected)


def test_the_class_loss_is_the_negative_log_likelihood_of_eq_2():
    logits, classes = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([1, 2])
    expected = -torch.log_softmax(logits, 1)[[0, 1], classes].mean()
    torch.testing.assert_close(losses.class_loss(logits, classes), expected)


def test_the_quality_loss_is_the_squared_error_of_eq_3():
    predicted, quality = torch.tensor([0.2, 0.9]), torch.tensor([0.5, 0.5])
    assert losses.quality_loss("mse", predicted, quality) == pytest.approx((0.09 + 0.16) / 2)
    assert losses.quality_loss("l1", predicted, quality) == pytest.approx(0.35)
    assert losses.quality_loss("huber", predicted, quality) == pytest.approx(0.1 * (0.25 + 0.35) / 2)


def test_the_reconstruction_loss_is_the_mean_absolute_difference():
    y = torch.rand(2, 3, 4, 4)
    assert losses.reconstruction_loss(y, y) == 0
    assert losses.reconstruction_loss(y, y + 0.25) == pytest.approx(0.25)


@pytest.mark.parametrize("form", ["bce", "hinge", "lsgan"])
def test_right_judgements_cost_the_discriminator_less_than_wrong_ones(form):
    right = losses.source_loss(form, torch.tensor([3.0]), torch.tensor([-3.0]))
    wrong = losses.source_loss(form, torch.tensor([-3.0]), torch.tensor([3.0]))
    assert right < wrong


@pytest.mark.parametrize("form", ["bce", "hinge", "lsgan"])
def test_the_generator_wants_its_images_judged_real(form):
    """The sign of the paper's "minimize L_C - L_S", as resolved in the module's docstring."""
    logit = torch.tensor([-0.5], requires_grad=True)
    losses.generator_source_loss(form, logit).backward()
    assert logit.grad is not None and logit.grad < 0


def test_an_undecided_discriminator_costs_log_2():
    zero = torch.zeros(4)
    assert losses.source_loss("bce", zero, zero) == pytest.approx(math.log(2))
    assert losses.generator_source_loss("bce", zero) == pytest.approx(math.log(2))


def test_weighting_is_a_mean_over_real_and_generated():
    one, three = torch.tensor(1.0), torch.tensor(3.0)
    assert losses.weighted(one, three, 1.0) == 2
    assert losses.weighted(one, three, 0.0) == 1
    assert losses.weighted(one, three, 0.5) == pytest.approx(5 / 3)
    assert losses.weighted(None, three, 0.0) == 3
    assert losses.weighted(one, None, 1.0) == 1
