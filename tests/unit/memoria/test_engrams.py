"""Engrams as a container: fields, masks, parts, removal, counts."""

import pytest
import torch

from memoria import Engrams, EngramType, IndexOutOfRange, InvalidArgument, InvalidShape, InvalidType


@pytest.fixture
def engrams() -> Engrams:
    torch.manual_seed(0)
    return Engrams(
        torch.rand(2, 4, 3),
        induce_counts=torch.tensor(
            [
                [[2, 1, 0, 0], [1, 3, 2, 0], [0, 2, 2, 0], [0, 0, 0, 1]],
                [[1, 0, 0, 0], [0, 1, 0, 5], [0, 0, 1, 0], [0, 5, 0, 7]],
            ]
        ),
        engrams_types=torch.tensor([[3, 3, 2, 1], [3, 2, 2, 1]]),
        lifespan=torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]),
        age=torch.tensor([[4, 3, 2, 1]] * 2),
        engram_ids=10,
        track_age=True,
        track_engram_id=True,
    )


def test_fields_have_the_documented_shapes_and_types(engrams: Engrams) -> None:
    assert len(engrams) == 8
    assert (engrams.batch_size, engrams.memory_length, engrams.hidden_dim) == (2, 4, 3)
    assert engrams.data.dtype == torch.float32
    assert engrams.induce_counts.shape == (2, 4, 4)
    assert engrams.induce_counts.dtype == torch.int32
    assert engrams.engrams_types.dtype == torch.uint8
    assert engrams.lifespan.dtype == torch.float32
    assert engrams.age is not None
    assert engrams.age.dtype == torch.int32
    assert engrams.engram_ids is not None
    assert engrams.engram_ids.tolist() == [[10, 11, 12, 13]] * 2
    assert engrams.fire_count.tolist() == [[2, 3, 2, 1], [1, 1, 1, 7]]


def test_defaults_are_working_engrams_that_fired_with_nobody() -> None:
    engrams = Engrams(torch.rand(2, 3, 4))
    assert engrams.engrams_types.tolist() == [[1] * 3] * 2
    assert engrams.lifespan.tolist() == [[0] * 3] * 2
    assert not engrams.induce_counts.any()
    assert engrams.age is None
    assert engrams.engram_ids is None


def test_what_was_passed_is_neither_kept_nor_changed() -> None:
    data, lifespan = torch.rand(1, 3, 2), torch.ones(1, 3)
    engrams = Engrams(data, lifespan=lifespan)
    engrams.decrease_lifespan()
    engrams.data = engrams.data * 2
    assert lifespan.tolist() == [[1, 1, 1]]
    before = engrams.data
    data.zero_()
    assert torch.equal(engrams.data, before)


def test_counts_and_fire_counts_can_be_assigned(engrams: Engrams) -> None:
    counts = torch.randint(0, 3, (2, 4, 4), dtype=torch.int32)
    engrams.induce_counts = counts
    assert torch.equal(engrams.induce_counts, counts)
    engrams.fire_count = torch.tensor([[7] * 4, [3] * 4])
    assert engrams.fire_count.tolist() == [[7] * 4, [3] * 4]
    off_diagonal = ~torch.eye(4, dtype=torch.bool)
    assert torch.equal(engrams.induce_counts[:, off_diagonal], counts[:, off_diagonal])


def test_masks_and_parts(engrams: Engrams) -> None:
    longterm, indices = engrams.get_longterm_memory()
    assert indices.tolist() == [[0, 1], [-1, 0]]
    assert longterm.engrams_types.tolist() == [[3, 3], [0, 3]]
    assert longterm.lifespan.tolist() == [[1, 2], [-1, 5]]
    assert longterm.induce_counts.tolist() == [[[2, 1], [1, 3]], [[0, 0], [0, 1]]]
    _, indices = engrams.get_shortterm_memory()
    assert indices.tolist() == [[-1, 2], [1, 2]]
    working, indices = engrams.get_working_memory()
    assert indices.tolist() == [[3], [3]]
    assert torch.equal(working.data, engrams.data[:, 3:])
    assert torch.equal(engrams.get_mask_with_indices(indices), engrams.working_memory_mask)


def test_selecting_nobody_reads_as_null(engrams: Engrams) -> None:
    part = engrams.select(torch.tensor([[1, -1, 2], [3, 1, -1]]))
    assert part.engrams_types.tolist() == [[3, 0, 2], [1, 2, 0]]
    assert part.lifespan.tolist() == [[2, -1, 3], [8, 6, -1]]
    assert part.engram_ids is not None
    assert part.engram_ids.tolist() == [[11, -1, 12], [13, 11, -1]]
    assert part.data[0, 1].tolist() == [0, 0, 0]
    assert part.induce_counts.tolist() == [
        [[3, 0, 2], [0, 0, 0], [2, 0, 2]],
        [[7, 5, 0], [5, 1, 0], [0, 0, 0]],
    ]


def test_an_engram_can_be_selected_twice(engrams: Engrams) -> None:
    part = engrams.select(torch.tensor([[1, 1, 0], [3, 1, 3]]))
    assert part.induce_counts.tolist() == [
        [[3, 3, 1], [3, 3, 1], [1, 1, 2]],
        [[7, 5, 7], [5, 1, 5], [7, 5, 7]],
    ]


def test_local_indices_point_into_the_selected_part(engrams: Engrams) -> None:
    mask = torch.tensor([[True, False, True, True], [False, False, True, True]])
    part = engrams.mask_select(mask)
    indices = torch.tensor([[3, 1, -1], [2, 3, 0]])
    local = engrams.get_local_indices_from_global_indices(mask, indices)
    assert local.tolist() == [[2, -1, -1], [1, 2, -1]]
    assert part.lifespan.tolist() == [[1, 3, 4], [-1, 7, 8]]
    assert engrams.get_indices_with_mask(mask).tolist() == [[0, 2, 3], [-1, 2, 3]]


def test_deleting_keeps_rows_equal_by_padding_on_the_left(engrams: Engrams) -> None:
    kept = engrams.data[1, 3]
    engrams.delete(torch.tensor([[0, -1, -1], [0, 1, 2]]))
    assert engrams.engrams_types.tolist() == [[3, 2, 1], [0, 0, 1]]
    assert engrams.lifespan.tolist() == [[2, 3, 4], [-1, -1, 8]]
    assert torch.equal(engrams.data[1, 2], kept)
    assert not engrams.data[1, :2].any()
    assert engrams.induce_counts.tolist() == [
        [[3, 2, 0], [2, 2, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 7]],
    ]


def test_firing_together_counts_every_ordered_pair_and_itself() -> None:
    engrams = Engrams(torch.rand(2, 4, 2))
    engrams.fire_together_wire_together(torch.tensor([[0, 0, 2], [1, -1, -1]]))
    engrams.fire_together_wire_together(torch.tensor([[2, 0, 3], [-1, -1, -1]]))
    assert engrams.induce_counts[0].tolist() == [[2, 0, 2, 1], [0] * 4, [2, 0, 2, 1], [1, 0, 1, 1]]
    assert engrams.induce_counts[1].tolist() == [[0] * 4, [0, 1, 0, 0], [0] * 4, [0] * 4]


def test_lifespan_and_age(engrams: Engrams) -> None:
    engrams.extend_lifespan(torch.tensor([[0, -1, 0], [3, 2, -1]]), torch.tensor([[5.0, 9, 1], [1, 2, 9]]))
    engrams.decrease_lifespan()
    engrams.increase_age()
    assert engrams.lifespan.tolist() == [[6, 1, 2, 3], [4, 5, 8, 8]]
    assert engrams.age is not None
    assert engrams.age.tolist() == [[5, 4, 3, 2]] * 2


def test_padding_does_not_age_or_fire() -> None:
    engrams = Engrams(torch.rand(2, 2, 2), lifespan=3, age=1, track_age=True)
    engrams.delete(torch.tensor([[0], [-1]]))
    engrams.decrease_lifespan()
    engrams.increase_age()
    engrams.extend_lifespan(torch.tensor([[0], [0]]), torch.tensor([[7.0], [7.0]]))
    engrams.fire_together_wire_together(torch.tensor([[0, 1], [0, 1]]))
    assert engrams.lifespan.tolist() == [[-1, 2], [9, 2]]
    assert engrams.age is not None
    assert engrams.age.tolist() == [[-1, 2], [2, 2]]
    assert engrams.induce_counts[0].tolist() == [[0, 0], [0, 1]]


def test_appending_and_equality(engrams: Engrams) -> None:
    both = engrams + engrams
    assert both.data.shape == (2, 8, 3)
    assert torch.equal(both.induce_counts[:, :4, :4], engrams.induce_counts)
    assert torch.equal(both.induce_counts[:, 4:, 4:], engrams.induce_counts)
    assert not both.induce_counts[:, :4, 4:].any()
    assert both.select(torch.tensor([[4, 5, 6, 7]] * 2)) == engrams
    assert Engrams.empty() + engrams == engrams
    assert both != engrams
    other = engrams.select(torch.tensor([[0, 1, 2, 3]] * 2))
    assert other == engrams
    other.induce_counts = other.induce_counts + torch.eye(4, dtype=torch.int32)
    assert other != engrams


def test_rows_can_be_walked(engrams: Engrams) -> None:
    rows = list(engrams)
    assert len(rows) == 2
    assert torch.equal(rows[1].data, engrams.data[1:])
    assert torch.equal(rows[1].induce_counts, engrams.induce_counts[1:])


def test_in_place_changes_of_small_fields_count() -> None:
    engrams = Engrams(torch.rand(1, 3, 2), lifespan=2)
    engrams.lifespan[0, 1] = 9
    engrams.engrams_types[0, 0] = EngramType.LONGTERM.value
    engrams.lifespan += 1
    assert engrams.lifespan.tolist() == [[3, 10, 3]]
    assert engrams.longterm_memory_mask.tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (IndexOutOfRange, lambda e: e.select(torch.tensor([[4], [0]]))),
        (IndexOutOfRange, lambda e: e.delete(torch.tensor([[-2], [0]]))),
        (InvalidShape, lambda e: e.select(torch.tensor([[0]]))),
        (InvalidType, lambda e: e.select(torch.tensor([[0.5], [0.5]]))),
        (InvalidShape, lambda e: e.mask_select(torch.ones(2, 3, dtype=torch.bool))),
        (InvalidShape, lambda e: setattr(e, "lifespan", torch.ones(2, 3))),
        (InvalidArgument, lambda e: setattr(e, "lifespan", float("nan"))),
        (InvalidArgument, lambda e: setattr(e, "engrams_types", torch.full((2, 4), 9))),
        (InvalidShape, lambda e: setattr(e, "induce_counts", torch.zeros(2, 4))),
        (InvalidArgument, lambda e: setattr(e, "induce_counts", -torch.ones(2, 4, 4))),
        (InvalidArgument, lambda e: setattr(e, "data", torch.full((2, 4, 3), float("inf")))),
        (InvalidShape, lambda e: e + Engrams(torch.rand(1, 4, 3))),
        (InvalidShape, lambda e: e.extend_lifespan(torch.tensor([[0], [0]]), torch.ones(2, 2))),
    ],
)
def test_bad_input_is_named_and_changes_nothing(engrams: Engrams, error, change) -> None:
    before = engrams.select(torch.tensor([[0, 1, 2, 3]] * 2))
    with pytest.raises(error):
        change(engrams)
    assert engrams == before
