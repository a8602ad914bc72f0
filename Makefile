# The one front door. `make demo` and `make check` need nothing else done by hand.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
TOOLS = catalog-copy catalog-edit pkg-archive site-serve vm-snapshot pkg-run-one report-html
BIN = target/release

# programs the tests drive, with the Debian packages they come in
TEST_NEEDS = git jq openssl curl=curl python3=python3 racket mandoc shellcheck cc=gcc \
	setpriv=util-linux ip=iproute2 tidy xmllint=libxml2-utils chromium node=nodejs npm zip unzip=unzip sqlite3=sqlite3
# machines the tests open for real; ENGINES= leaves them out, and their tests are skipped by name
ENGINES = dockerd=docker.io runc podman sshd=openssh-server linux.uml=user-mode-linux qemu-system-x86_64=qemu-system-x86 \
	qemu-img=qemu-utils busybox=busybox-static modprobe=kmod cpio virsh=libvirt-clients libvirtd=libvirt-daemon-system mmdebstrap mke2fs=e2fsprogs genisoimage

# coverage-guided, for FUZZ_S seconds each; needs cargo-fuzz (cargo install cargo-fuzz), and no nightly compiler
FUZZ_S ?= 180

.PHONY: help build check test fuzz ecosystem-5 ecosystem-docker ecosystem-podman ecosystem-qemu ecosystem-uml demo bench install uninstall man-lint lint clean

help:
	@echo 'make build     the seven programs, in $(BIN)'
	@echo 'make demo      the main job on real packages, from nothing to a report'
	@echo 'make check     every test'
	@echo 'make fuzz      the reader of Racket data, FUZZ_S=$(FUZZ_S) seconds for each promise'
	@echo 'make ecosystem-5   the verdicts of the sample ecosystem, five runs in a row'
	@echo 'make ecosystem-least   the same once, with one processor and the least memory'
	@echo 'make ecosystem-docker (-podman, -qemu, -uml)   the same through other machines'
	@echo 'make bench     our commands against the peers, in turn'
	@echo 'make install   PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make man-lint  check the manual pages'
	@echo 'make lint      formatting and clippy'

build:
	$(CARGO) build --release --locked --workspace

check: needs test

.PHONY: needs
needs:
	scripts/need $(TEST_NEEDS)
	scripts/need --if-possible $(ENGINES)

test: build
	$(CARGO) test --release --locked --workspace --no-fail-fast

fuzz:
	cd tools/lib/racket-data && for target in read parts; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=$(FUZZ_S) -dict=fuzz/racket.dict || exit; done

# the same verdicts where a machine has one processor and no more memory than Racket needs
.PHONY: ecosystem-least
ecosystem-least: build
	ECOSYSTEM_MACHINE=least $(CARGO) test --release --locked -p tests --test ecosystem every_sample -- --nocapture

# every verdict of the sample ecosystem, five times out of five
ecosystem-5: build
	ECOSYSTEM_RUNS=5 $(CARGO) test --release --locked -p tests --test ecosystem every_sample -- --nocapture

# the same through other machines (as root, with network to the package mirror): containers, all of it; emulated virtual
# machines, which are 16 to 50 times slower, a choice of verdicts (ECOSYSTEM_PACKAGES= for all of it)
ECOSYSTEM_IMAGE = scripts/make-image --extended --packages racket
ecosystem-docker: build
	image=$$($(ECOSYSTEM_IMAGE)) && ECOSYSTEM_MACHINE=docker tests/ecosystem/with-docker "$$image" \
		$(CARGO) test --release --locked -p tests --test ecosystem every_sample -- --nocapture
# a choice; of three runs two went wrong (silence, a command that ended early) on a host with ten times more work than processors
ecosystem-podman: build
	image=$$($(ECOSYSTEM_IMAGE)) && ECOSYSTEM_MACHINE=podman \
		ECOSYSTEM_PACKAGES=passes,compile-error,undeclared,hangs-asleep,fills-disk tests/ecosystem/with-podman "$$image" \
		$(CARGO) test --release --locked -p tests --test ecosystem every_sample -- --nocapture
# a pass, with tests and without, the package's fault in three ways, and that of what it depends on
ECOSYSTEM_PACKAGES ?= passes,no-tests,compile-error,failed-dependency,test-fails,undeclared
ecosystem-qemu: build
	image=$$($(ECOSYSTEM_IMAGE)) && DOWNSTREAM_IMAGE=$$image ECOSYSTEM_MACHINE=qemu ECOSYSTEM_PACKAGES='$(ECOSYSTEM_PACKAGES)' \
		$(CARGO) test --release --locked -p tests --test ecosystem every_sample -- --nocapture
# user-mode Linux, a few times slower than a sandbox: all of it
ecosystem-uml: build
	image=$$($(ECOSYSTEM_IMAGE)) && DOWNSTREAM_IMAGE=$$image ECOSYSTEM_MACHINE=uml \
		$(CARGO) test --release --locked -p tests --test ecosystem every_sample -- --nocapture

demo:
	scripts/demo

bench: build
	scripts/bench/all

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

man-lint:
	mandoc -T lint -W warning man/*

install: build
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/man/man1' '$(DESTDIR)$(PREFIX)/share/man/man5' \
		'$(DESTDIR)$(PREFIX)/share/man/man7' '$(DESTDIR)$(PREFIX)/share/downstream'
	for tool in $(TOOLS); do install -m 755 "$(BIN)/$$tool" '$(DESTDIR)$(PREFIX)/bin/' || exit; done
	for section in 1 5 7; do \
		install -m 644 man/*.$$section "$(DESTDIR)$(PREFIX)/share/man/man$$section/" || exit; done
	cp -R scripts '$(DESTDIR)$(PREFIX)/share/downstream/'

uninstall:
	for tool in $(TOOLS); do rm -f "$(DESTDIR)$(PREFIX)/bin/$$tool"; done
	for page in man/*; do \
		rm -f "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page#man/}"; done
	rm -rf '$(DESTDIR)$(PREFIX)/share/downstream'

clean:
	$(CARGO) clean
