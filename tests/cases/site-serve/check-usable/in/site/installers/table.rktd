#hash(("{2} Racket | {2} Linux | {1} 64-bit x86_64; built on Debian 10" . "racket-8.7-x86_64-linux.sh") ("{1} Racket | {1} Windows" . "racket-8.7-x86_64-win32.exe"))
