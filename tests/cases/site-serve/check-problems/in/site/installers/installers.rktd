#hash(("Changed" . #hash((filename . "changed.sh") (size . 2) (sha1 . "0000000000000000000000000000000000000000"))))
