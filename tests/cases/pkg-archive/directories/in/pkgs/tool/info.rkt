(module info setup/infotab (#%module-begin (define deps (quote ("app" "nowhere"))) (define pkg-desc "a tool")))
