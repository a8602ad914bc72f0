# Written by pkg-archive; a later run replaces it. Needs GNU make 4.3 or later.
#
# Set before including it:
#   OUT          where results go
#   ARCHIVE      the directory of this file (default .)
#   PKG_RUN_ONE  pkg-run-one with the options it needs (machines, machine, ...)
#   RUN          what to put in front of it, for example srun -Q -n1 (default nothing)
# Defines PACKAGES, long chains first, and RESULTS, one file for each.

ARCHIVE ?= .
PKG_RUN_ONE ?= pkg-run-one
$(if $(OUT),,$(error packages.mk needs OUT, the directory for results))

# $(1): packages that are run together. What is put in front may claim success without having run anything, so the
# results must be there and must not be older than what they were made from.
define run_packages
$(RUN) $(PKG_RUN_ONE) --archive $(ARCHIVE) --out $(OUT) $(1)
@for package in $(1); do \
  result=$(OUT)/results/$$package.json; \
  test -s $$result || { echo "packages.mk: no result was written: $$result" >&2; exit 75; }; \
  for newer in $?; do \
    test ! $$newer -nt $$result || { echo "packages.mk: no new result was written: $$result" >&2; exit 75; }; \
  done; \
done
endef

PACKAGES := \
  base-lib \
  app \
  tool \
  newer \
  newer2
RESULTS := $(PACKAGES:%=$(OUT)/results/%.json)

.PHONY: results
results: $(RESULTS)

$(OUT)/results/base-lib.json: \
  $(ARCHIVE)/pkgs/base-lib.zip.CHECKSUM
	$(call run_packages,base-lib)

$(OUT)/results/app.json $(OUT)/results/tool.json &: \
  $(ARCHIVE)/pkgs/app.zip.CHECKSUM \
  $(ARCHIVE)/pkgs/tool.zip.CHECKSUM \
  $(OUT)/results/base-lib.json
	$(call run_packages,app tool)

$(OUT)/results/newer.json: \
  $(ARCHIVE)/pkgs/newer.zip.CHECKSUM \
  $(OUT)/results/base-lib.json
	$(call run_packages,newer)

$(OUT)/results/newer2.json: \
  $(ARCHIVE)/pkgs/newer2.zip.CHECKSUM \
  $(OUT)/results/base-lib.json
	$(call run_packages,newer2)
