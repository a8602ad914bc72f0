# what a package that builds does
. "$1/lib/say.sh"
mark '{"version": "1.0"}'
mark '{"begin": "install"}'
echo "installing $PACKAGE"
echo "all installed"
mark '{"end": "install", "exit_code": 0}'
mark '{"begin": "check"}'
mark '{"end": "check", "exit_code": 0}'
mark '{"begin": "pack"}'
printf 'built %s' "$PACKAGE" >"$OUT_DIR/$PACKAGE.zip"
mark "{\"package\": \"$PACKAGE\", \"file\": \"$OUT_DIR/$PACKAGE.zip\"}"
mark '{"end": "pack", "exit_code": 0}'
mark '{"done": true}'
