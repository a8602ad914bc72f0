#lang scribble/manual

@title{Docs that end in an error}

@(error 'docs-error "no picture called ~a" "overview.png")
