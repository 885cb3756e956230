from lake.sdss.sequence import spectral_sequence


def test_from_hot_to_cool_then_what_is_no_mk_class():
    given = ["WD", "M5", "K3", "K", "A0", "G2", "CV", "K10", "O9.5", "L1", "A0", "K3III", "sdF3"]
    assert spectral_sequence(given) == [
        "O9.5", "A0", "sdF3", "G2", "K", "K3", "K3III", "M5", "L1", "CV", "K10", "WD",
    ]  # fmt: skip


def test_nothing():
    assert spectral_sequence([]) == []
