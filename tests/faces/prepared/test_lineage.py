from mimik.faces.prepared.lineage import code_digests, importer_record, photograph_record

FILES = [("b.jpg", 20, "bb"), ("a.jpg", 10, "aa"), ("b.jpg", 20, "bb")]


def test_photographs_are_one_digest_whatever_their_order() -> None:
    record = photograph_record(FILES)
    assert (record["count"], record["bytes"]) == (2, 30)
    assert photograph_record(reversed(FILES)) == record
    for changed in (("c.jpg", 10, "aa"), ("a.jpg", 11, "aa"), ("a.jpg", 10, "ab")):
        assert photograph_record([FILES[0], changed])["sha256"] != record["sha256"]


def test_the_importers_code_is_part_of_the_record() -> None:
    code = code_digests("rafd")
    assert {"datasets/rafd.py", "faces/prepared/prepare.py", "faces/alignment.py"} <= code.keys()
    assert "datasets/cfee.py" not in code
    assert importer_record("rafd", "")["code_sha256"] != importer_record("cfee", "")["code_sha256"]
