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
  bad-info \
  garbage \
  gone \
  gone-file \
  good \
  mismatch \
  name-loop \
  name-only \
  plt \
  ssh
RESULTS := $(PACKAGES:%=$(OUT)/results/%.json)

.PHONY: results
results: $(RESULTS)

$(OUT)/results/bad-info.json: \
  $(ARCHIVE)/failed/bad-info.json
	$(call run_packages,bad-info)

$(OUT)/results/garbage.json: \
  $(ARCHIVE)/failed/garbage.json
	$(call run_packages,garbage)

$(OUT)/results/gone.json: \
  $(ARCHIVE)/pkgs/gone.zip.CHECKSUM
	$(call run_packages,gone)

$(OUT)/results/gone-file.json: \
  $(ARCHIVE)/failed/gone-file.json
	$(call run_packages,gone-file)

$(OUT)/results/good.json: \
  $(ARCHIVE)/pkgs/good.zip.CHECKSUM \
  $(OUT)/results/bad-info.json
	$(call run_packages,good)

$(OUT)/results/mismatch.json: \
  $(ARCHIVE)/failed/mismatch.json
	$(call run_packages,mismatch)

$(OUT)/results/name-loop.json: \
  $(ARCHIVE)/failed/name-loop.json
	$(call run_packages,name-loop)

$(OUT)/results/name-only.json: \
  $(ARCHIVE)/failed/name-only.json
	$(call run_packages,name-only)

$(OUT)/results/plt.json: \
  $(ARCHIVE)/failed/plt.json
	$(call run_packages,plt)

$(OUT)/results/ssh.json: \
  $(ARCHIVE)/failed/ssh.json
	$(call run_packages,ssh)
