#hash(("Gone" . "gone.sh") ("Empty" . "empty.sh") ("Outside" . "../../etc/passwd") ("Changed" . "changed.sh"))
