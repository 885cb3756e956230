import numpy as np
import pyarrow as pa
import pytest

from lake.csc import object_types
from lake.csc.features import AMBIGUOUS, CLASSES, OTHER_TYPE, UNLABELLED, label_codes
from lake.csc.object_types import canonical_type, condensed_type, is_known

#: Former name, condensed name and label of today; of the classes and of what counts as unlabelled.
RENAMED = [
    ("QSO", "QSO", "QSO"), ("AGN", "AGN", "AGN"), ("Seyfert_1", "Sy1", "Seyfert1"),
    ("Seyfert_2", "Sy2", "Seyfert2"), ("HMXB", "HXB", "HighMassXBin"),
    ("LMXB", "LXB", "LowMassXBin"), ("XB", "XB*", "XrayBin"), ("YSO", "Y*O", "YSO"),
    ("TTau*", "TT*", "TTauri*"), ("Orion_V*", "Or*", "OrionV*"),
    ("Star", "*", "Star"), ("X", "X", "X"), ("Radio", "Rad", "Radio"), ("IR", "IR", "Infrared"),
    ("Blue", "blu", "blue"), ("UV", "UV", "UV"), ("gamma", "gam", "gamma"),
    ("PartofG", "PoG", "PartofG"), ("**", "**", "**"),
]  # fmt: skip


def test_the_table_of_renamed_types_is_whole():
    assert {former for former, *_ in RENAMED} == set(CLASSES) | AMBIGUOUS


@pytest.mark.parametrize(("former", "condensed", "label"), RENAMED)
def test_every_spelling_of_a_type_is_the_methods(former, condensed, label):
    assert {canonical_type(text) for text in (former, condensed, f" {label} ")} == {former}
    assert condensed_type(former) == condensed


def test_types_that_simbad_does_not_have_are_told_from_those_that_it_has():
    known = ["Sy1", " Seyfert_1 ", "Candidate_HMXB", "TT?", "Galaxy", None, "", "nan"]
    assert all(map(is_known, known))
    assert not any(map(is_known, ["Seyfert 1", "qso", "High Mass X-ray Binary"]))


def test_labels_of_today_make_the_training_set_of_the_former_ones():
    former, condensed, labels = (
        label_codes(pa.array([names[i] for names in RENAMED])) for i in range(3)
    )
    assert former.tolist() == [*range(10), *[UNLABELLED] * 9]
    np.testing.assert_array_equal(condensed, former)
    np.testing.assert_array_equal(labels, former)


@pytest.mark.parametrize(
    "candidate",
    ["AG?", "AGN_Candidate", "Q?", "HX?", "Candidate_HMXB", "LowMassXBin_Candidate", "XB?", "Y*?",
     "YSO_Candidate", "TT?", "TTauri*_Candidate", "**?", "Candidate_**", "G?"],
)  # fmt: skip
def test_a_candidate_is_another_type(candidate):
    assert label_codes(pa.array([candidate])).tolist() == [OTHER_TYPE]


@pytest.mark.parametrize(
    ("today", "former"),
    [("CV*", "CataclyV*"), ("NIR", "IR<10um"), ("NearIR", "IR<10um"), ("GlC", "GlCl"),
     ("Ma*", "Massiv*"), ("XrayBin_Candidate", "Candidate_XB*"), ("XB?", "Candidate_XB*")],
)  # fmt: skip
def test_types_that_the_method_leaves_out_have_one_name_too(today, former):
    assert canonical_type(today) == canonical_type(former) == former
    assert label_codes(pa.array([today])).tolist() == [OTHER_TYPE]


def test_no_spelling_stands_for_two_types():
    spellings = [text for names in object_types._LINES for text in set(names)]
    assert len(spellings) == len(set(spellings))


def test_an_unknown_type_stays_what_it_is():
    assert canonical_type("NewType*") == "NewType*"


@pytest.mark.parametrize("text", [None, "", "  ", "NaN", "nan", "None"])
def test_absent_labels_are_none(text):
    assert canonical_type(text) is None
