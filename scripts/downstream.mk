# The whole line: which packages does this change break?
#
#   make -k -j2 -f scripts/downstream.mk CATALOG=https://pkgs.racket-lang.org/ MACHINES=machines.json MACHINE=racket \
#        CHANGED='--repo OWNER/NAME' TO='OWNER/NAME#BRANCH'
#
# Everything is kept below WORK and made only once: run it again after Ctrl-C, a crash or kill -9 and it goes on where it
# stopped; after a change it builds what the change touches and its dependents, and nothing else. See downstream(7).
#
#   WORK/catalog      the catalog as it was when the run began (make refresh takes a new one)
#   WORK/{old,new}/   catalog (new: edited), archive, out (results, logs, built packages)
#   WORK/report       the answer, written again every WATCH seconds while the run is going
#   WORK/history      the reports of earlier runs, which its pages tell of
#
# What to run
#   CATALOG     catalogs to start from, as catalog-copy takes them
#   CHANGED     the packages that change, as catalog-edit selects them: --repo OWNER/NAME, --package N,N
#   TO          repository and branch with the change: OWNER/NAME#BRANCH or URL#BRANCH
#   CHECKOUT    or a local working copy with the change
#   EDIT        or any other edit, in catalog-edit's words
#   AFFECTED    packages to run, as catalog-edit selects them [CHANGED --with-dependents]
#   DEPTH       only dependents at most this many steps away
#   EXCEPT      packages to leave out, separated by commas, and what is only reached through them
# Where to run
#   MACHINES, MACHINE    machines document and the machine in it
#   KEEP        packages the installation carries ready-built, separated by commas, or `all`
#   SITE, INSTALLER      take Racket from this site's installer instead of the machine's own
#   SETUP       script to run in the machine when the state is made
#   LIMITS      limits document
# How to run
#   OLD         all: both sides run everything; failed [default]: the old side only what fails on the new one;
#               none: one side, to see how things stand
#   CONFIRM     how often a difference must be seen on each side before it is a verdict [1: no repeats]
#   FLAKE_RATES file that says how often each package disagrees with itself; `make calibrate` adds to it
#   WATCH       seconds between two looks at what has arrived for the report [15; 0: only at the end]
#   HISTORY     how many earlier reports are kept [20]
#   INFO_MACHINE    command that opens a machine where Racket is asked what an info.rkt means [MACHINE; empty: nobody is asked]
#   RUN         prefix that sends a package elsewhere, such as `srun -Q -n1 -N1`
#   ARCHIVE_FLAGS, RUN_FLAGS, REPORT_FLAGS    passed on

DOWNSTREAM := $(abspath $(lastword $(MAKEFILE_LIST)))
SCRIPTS := $(dir $(DOWNSTREAM))

WORK ?= work
CATALOG ?=
CHANGED ?=
TO ?=
CHECKOUT ?=
EDIT ?= $(if $(CHECKOUT),$(CHANGED) --to-checkout '$(CHECKOUT)',$(if $(TO),$(CHANGED) --to '$(TO)'))
DEPTH ?=
# by name, because the edited catalog no longer serves them from the repository that CHANGED names
AFFECTED ?= $(if $(CHANGED),--names-from $(WORK)/changed --with-dependents $(if $(DEPTH),--depth $(DEPTH)),--all)
EXCEPT ?=
MACHINES ?= machines.json
MACHINE ?= racket
KEEP ?=
SITE ?=
INSTALLER ?=
SETUP ?=
LIMITS ?=
OLD ?= failed
SIDES := $(if $(filter none,$(OLD)),new,new old)
CONFIRM ?= 1
FLAKE_RATES ?= $(WORK)/flake-rates.json
RUN ?=
ARCHIVE_FLAGS ?=
RUN_FLAGS ?=
REPORT_FLAGS ?=
WATCH ?= 15
HISTORY ?= 20
# the machine ends with pkg-archive, whose shell says $$PPID
INFO_MACHINE ?= vm-snapshot --machines $(MACHINES) open $(MACHINE) --snapshot installed --owner $$PPID
Q ?= -q

# beside the machines, because it says what is in them
INSTALLATIONS := $(patsubst %/,%,$(dir $(MACHINES)))
INSTALLATION := $(INSTALLATIONS)/$(MACHINE).installation.json
PROGRESS := $(WORK)/.progress
comma := ,

# A recipe ends with make, however make ends: nothing goes on building when make was killed.
SETPRIV := $(firstword $(wildcard /usr/bin/setpriv /bin/setpriv))
ifneq ($(SETPRIV),)
SHELL := $(SETPRIV)
.SHELLFLAGS := --pdeathsig KILL -- /bin/sh -c
DIES_WITH_MAKE := $(SETPRIV) --pdeathsig TERM --
endif

RUN_ONE := pkg-run-one $(Q) --machines $(MACHINES) --machine $(MACHINE) --installed $(INSTALLATION) \
	$(if $(LIMITS),--limits $(LIMITS)) $(RUN_FLAGS)
PKG_RUN_ONE := $(RUN_ONE) --side $(SIDE)

ifdef SIDE
# -- one side: the rules that pkg-archive wrote, with their variables set
ARCHIVE := $(WORK)/$(SIDE)/archive
OUT := $(WORK)/$(SIDE)/out
THE_RUN := $(RUN)
ifndef COUNTING
override RUN = $(DIES_WITH_MAKE) $(SCRIPTS)with-progress '$(PROGRESS)' '$(SIDE)' $(DIES_WITH_MAKE) $(THE_RUN)
endif
include $(ARCHIVE)/packages.mk

# what else a verdict rests on
$(RESULTS): $(INSTALLATION) $(LIMITS)

.PHONY: side
side: $(if $(ONLY),$(filter $(ONLY:%=$(OUT)/results/%.json),$(RESULTS)),$(RESULTS))
	@:

else
# -- the whole line
.PHONY: report run state archives refresh help
.DEFAULT_GOAL := report

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' $(DOWNSTREAM)

$(WORK)/catalog/pkgs-all:
	@test -n '$(CATALOG)' || { echo 'downstream: CATALOG is not set: which catalog to start from?' >&2; exit 2; }
	@mkdir -p $(WORK)
	catalog-copy $(Q) --force $(CATALOG) $(WORK)/catalog >$(WORK)/catalog.json

refresh:
	rm -rf $(WORK)/catalog
	$(MAKE) -f $(DOWNSTREAM) $(WORK)/catalog/pkgs-all

# the state `installed` of the machine and of its variants
state:
	@mkdir -p $(WORK)
	@for machine in $$(jq -r --arg m '$(MACHINE)' '.machines[] | select(.name == $$m) | .fallback, .minimal, .name | strings' $(MACHINES)); do \
		$(SCRIPTS)install-racket --machines $(MACHINES) --installation $(INSTALLATIONS)/$$machine.installation.json \
			$(if $(KEEP),--keep-packages '$(KEEP)') $(if $(SITE),--site '$(SITE)') \
			$(if $(INSTALLER),--installer '$(INSTALLER)') $(if $(SETUP),--setup '$(SETUP)') $(Q) $$machine || exit; done

# the two catalogs differ by the edit only
archives: $(WORK)/catalog/pkgs-all state
	@mkdir -p $(SIDES:%=$(WORK)/%)
	@rm -rf $(WORK)/new/catalog.made
	@catalog-copy $(Q) $(WORK)/catalog $(WORK)/new/catalog.made >/dev/null
	@$(if $(strip $(EDIT)),catalog-edit $(Q) $(EDIT) $(WORK)/new/catalog.made >$(WORK)/new/edit.jsonl,:)
	@rm -rf $(WORK)/new/catalog && mv $(WORK)/new/catalog.made $(WORK)/new/catalog
	@$(if $(CHANGED),catalog-edit $(Q) $(CHANGED) $(WORK)/catalog >$(WORK)/changed.jsonl \
		&& jq -r .name $(WORK)/changed.jsonl >$(WORK)/changed,:)
	@for side in $(SIDES); do \
		from=$(WORK)/catalog; test $$side = old || from=$(WORK)/new/catalog; \
		catalog-edit $(Q) $(AFFECTED) $(if $(EXCEPT),--except $(EXCEPT)) $$from | jq -r .name >$(WORK)/$$side/affected || exit; \
	done
	@sort -u $(SIDES:%=$(WORK)/%/affected) >$(WORK)/affected
	@for side in $(SIDES); do \
		from=$(WORK)/catalog; test $$side = old || from=$(WORK)/new/catalog; \
		pkg-archive $(Q) --relative --installed $(INSTALLATION) $(patsubst %,--include %,$(INCLUDE)) \
			$(if $(INFO_MACHINE),--info-machine '$(INFO_MACHINE)') \
			--include "$$(paste -sd, $(WORK)/affected)" --include-deps $(if $(EXCEPT),--exclude $(EXCEPT)) \
			$(ARCHIVE_FLAGS) "$$from" $(WORK)/$$side/archive >$(WORK)/$$side/archive.jsonl || test $$? -eq 1 || exit; \
	done
	@for side in $(SIDES); do $(SCRIPTS)set-aside $(WORK)/$$side || exit; done
	@jq -rs 'map(select(.kind == "archived" and .status == "failed")) | .[] | "cannot archive \(.package): \(.message)"' \
		$(WORK)/new/archive.jsonl >&2

SIDE_MAKE = $(MAKE) --no-print-directory -k $(if $(filter -q,$(Q)),-s) -f $(DOWNSTREAM)

run: archives
	@$(SCRIPTS)count-runs '$(PROGRESS)' $(filter-out -s,$(SIDE_MAKE)) COUNTING=1 RUN=@run side -- $(if $(filter failed,$(OLD)),new,$(SIDES))
	@test "$$(cat $(PROGRESS)/todo)" = 0 || $(SCRIPTS)keep-report $(WORK) $(HISTORY)
ifeq ($(WATCH),0)
	+@$(SIDE_MAKE) sides
else
	+@if test "$$(cat $(PROGRESS)/todo)" = 0; then $(SIDE_MAKE) sides; \
		else $(SCRIPTS)with-report $(MAKE_REPORT) --watch $(WATCH) -- $(SIDE_MAKE) sides; fi
endif

.PHONY: sides
sides:
ifeq ($(OLD),all)
	+@$(SIDE_MAKE) two-sides || true
else
	+@$(SIDE_MAKE) SIDE=new side || true
endif
ifeq ($(OLD),failed)
	@report-html $(Q) --new $(WORK)/new --old $(WORK)/old --list needs-old >$(WORK)/needs-old
	@$(SCRIPTS)count-runs '$(PROGRESS)' $(filter-out -s,$(SIDE_MAKE)) COUNTING=1 RUN=@run ONLY="$$(paste -sd' ' $(WORK)/needs-old)" side -- \
		$$(test ! -s $(WORK)/needs-old || echo old)
	+@test ! -s $(WORK)/needs-old || $(SIDE_MAKE) SIDE=old ONLY="$$(paste -sd' ' $(WORK)/needs-old)" side || true
endif
ifneq ($(CONFIRM),1)
	@$(SCRIPTS)confirm --times $(CONFIRM) --work $(WORK) -- $(RUN_ONE)
endif

.PHONY: two-sides side-new side-old
two-sides: side-new side-old
side-new side-old:
	+@$(SIDE_MAKE) SIDE=$(@:side-%=%) side

MAKE_REPORT = report-html $(Q) --new $(WORK)/new $(if $(filter old,$(SIDES)),--old $(WORK)/old) \
	$(if $(filter-out 1,$(CONFIRM)),--confirm $(CONFIRM)) \
	$(if $(wildcard $(FLAKE_RATES)),--flake-rates $(FLAKE_RATES)) \
	$$(test ! -d $(WORK)/history || echo '--history $(WORK)/history') $(REPORT_FLAGS) --out $(WORK)/report

report: run
	@$(MAKE_REPORT)
	@touch $(WORK)/.reported

# The same side once more, from nothing: what differs is not the change. Run it again for more observations.
.PHONY: calibrate
CALIBRATE ?= $(lastword $(SIDES))
calibrate: archives
	@$(SCRIPTS)count-runs '$(PROGRESS)' $(filter-out -s,$(SIDE_MAKE)) COUNTING=1 RUN=@run side -- $(CALIBRATE)
	+@$(SIDE_MAKE) SIDE=$(CALIBRATE) side || true
	@rm -rf $(WORK)/again && mkdir -p $(WORK)/again && ln -s ../$(CALIBRATE)/archive $(WORK)/again/archive
	@$(SCRIPTS)count-runs '$(PROGRESS)' $(filter-out -s,$(SIDE_MAKE)) COUNTING=1 RUN=@run side -- again
	+@$(SIDE_MAKE) SIDE=again side || true
	@report-html $(Q) --old $(WORK)/$(CALIBRATE) --new $(WORK)/again --calibrate $(FLAKE_RATES)
endif
