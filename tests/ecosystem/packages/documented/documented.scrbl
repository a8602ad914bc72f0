#lang scribble/manual
@(require (for-label documented))

@title{Documented}

@defmodule[documented]

@defthing[answer exact-integer?]{What it is all about.}
