"""The stages of the method, one public function each, named as in the paper."""
