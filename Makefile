# The few commands a newcomer types; CMake does the work (see CMakePresets.json for more builds).
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
FILES ?= $(wildcard tests/data/*.txt tests/data/*.gtb tests/data/*.protodata tests/data/html tests/data/urls.10K)
JOBS := $(shell nproc 2>/dev/null || echo 2)

.PHONY: all check demo bench fuzz install clean

all: build/build.ninja
	@cmake --build build --parallel $(JOBS) --target pith_command pith_shared pith_static

build/build.ninja:
	@cmake --preset release

check:
	@scripts/check

demo:
	@scripts/demo

bench: all
	@build/pith bench file $(FILES)

fuzz:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/check fuzz

install: all
	@DESTDIR="$(DESTDIR)" cmake --install build --prefix "$(PREFIX)"
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

clean:
	@cmake -E rm -rf build build-debug build-asan build-clang build-coverage build-fuzz
