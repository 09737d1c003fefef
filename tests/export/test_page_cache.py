import os
from pathlib import Path

import pytest
from arte_export import page_cache


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot be asked to forget a file")
def test_a_file_is_forgotten_and_found_again(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(4 << 20))
    assert file.read_bytes()
    assert page_cache.resident([file]) == 1.0
    if not page_cache.drop(file):
        pytest.skip("this file system keeps its files in memory (tmpfs)")
    assert page_cache.resident([file]) < 0.02
    assert file.read_bytes()
    assert page_cache.resident([file]) == 1.0


def test_an_empty_folder_has_no_pages(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert page_cache.resident([tmp_path / "empty"]) == 0.0
