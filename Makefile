# Two cores carry about this many servers at once.
export RUST_TEST_THREADS ?= 4

MATRIX := redis-7.4/redis-server redis-8.2/redis-server \
	valkey-8.1/valkey-server valkey-9.1/valkey-server
MONGO_MATRIX := mongodb-4.4/mongod mongodb-5.0/mongod mongod

# The integration tests, those that measure times alone at the end.
INTEGRATION := cargo test --release --test integration -- --skip timing:: && \
	cargo test --release --test integration timing:: -- --test-threads 1

.PHONY: help setup build test test-all test-matrix test-mongo-matrix test-metrics test-wb-top test-clients \
	test-movie-app test-package lint docs demo movie-app crash outage atomic failover cluster cached through redis-suite bench oracle fuzz \
	commands dist clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 20

setup: ## Install what is missing, fetch mongod, RedisJSON and the films
	@scripts/setup
	@scripts/fetch-servers

# With an example, the dependencies get the features that the tests' need too: built once.
build: setup ## Build target/release/libwritebehind.so
	cargo build --release --lib --example crash

test: build ## Run the unit and integration tests against the real servers
	cargo test --release --doc
	cargo test --release --lib --test house
	$(INTEGRATION)

test-matrix: test ## Run the integration tests on Redis 7.4 and 8.2, Valkey 8.1 and 9.1 too
	@scripts/fetch-servers matrix
	@for server in $(MATRIX); do \
		echo "== $$server"; \
		export WB_REDIS_SERVER=.servers/$$server; $(INTEGRATION) || exit 1; \
	done

test-mongo-matrix: build ## Run the integration tests on MongoDB 4.4, 5.0 and 6.0
	@scripts/fetch-servers mongo
	@for mongod in $(MONGO_MATRIX); do \
		echo "== $$mongod"; \
		export WB_MONGOD=.servers/$$mongod; $(INTEGRATION) || exit 1; \
	done

test-all: test test-metrics test-wb-top test-clients test-movie-app test-package ## Run all tests but the matrices

lint: setup ## Check format, clippy, rustdoc and docs/ against the sources, warnings denied
	@scripts/check-docs
	@scripts/vendor-driver --check
	cargo fmt --package writebehind --package testkit --check
	cargo clippy --release --workspace --all-targets --no-deps -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

docs: build ## Check the documentation: links, messages, commands, options, settings, figures
	@scripts/check-docs
	cargo test --release --test integration commands::docs

demo: build ## Walk a movie application's life; KEEP=1 leaves the servers up
	KEEP=$(KEEP) cargo run --release --quiet --example demo

# WB_MODULE=<file> takes a module that is built already.
MOVIE_APP := examples/movie-app
movie-app: $(if $(WB_MODULE),,build) ## Start the movie application with its servers; PORT, DATA
	@scripts/setup node
	@scripts/fetch-servers search
	@$(MAKE) -s --no-print-directory $(MOVIE_APP)/node_modules/.package-lock.json
	@cd $(MOVIE_APP) && PORT=$(or $(PORT),3000) DATA=$(abspath $(DATA)) WB_MODULE=$(abspath $(WB_MODULE)) \
		exec node start.js

test-movie-app: $(if $(WB_MODULE),,build) ## Test the movie application in a browser
	@scripts/setup browser
	@scripts/fetch-servers search
	@$(MAKE) -s --no-print-directory $(MOVIE_APP)/node_modules/.package-lock.json
	@cd $(MOVIE_APP) && WB_MODULE=$(abspath $(WB_MODULE)) npm test

$(MOVIE_APP)/node_modules/.package-lock.json: $(MOVIE_APP)/package-lock.json
	cd $(MOVIE_APP) && npm ci --silent --no-audit --no-fund
	@touch $@

ROUNDS ?= 20
SEED ?= 1
SCENARIO ?= all
crash: build ## Kill servers at random moments and compare; ROUNDS, SEED, SCENARIO, SERVER
	cargo run --release --quiet --example crash -- --rounds $(ROUNDS) --seed $(SEED) \
		--scenario $(SCENARIO) $(if $(SERVER),--server $(SERVER))

ONLY ?= all
outage: build ## Freeze, cut, step down and poison MongoDB; ONLY, SECONDS, COUNT, PER_SECOND, KEYS
	cargo run --release --quiet --example outage -- --only $(ONLY) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(COUNT),--rounds $(COUNT)) \
		$(if $(PER_SECOND),--per-second $(PER_SECOND)) $(if $(KEYS),--keys $(KEYS))

SNAPSHOTS ?= 10000
atomic: build ## Transfer under all faults, check the sum in MongoDB; SNAPSHOTS, SEED, ONLY, ATOMIC, SERVER
	cargo run --release --quiet --example atomic -- --snapshots $(SNAPSHOTS) --seed $(SEED) \
		--only $(ONLY) $(if $(ATOMIC),--atomic $(ATOMIC)) $(if $(SERVER),--server $(SERVER))

failover: build ## Freeze, kill and replace masters that come back; ROUNDS, SEED, ONLY, UNFENCED, SERVER
	cargo run --release --quiet --example failover -- --rounds $(ROUNDS) --seed $(SEED) --only $(ONLY) \
		$(if $(UNFENCED),--unfenced) $(if $(SERVER),--server $(SERVER))

cluster: build ## Move slots of a Redis Cluster under load and compare; ROUNDS, SEED, ONLY, REGISTER_EACH, SERVER
	cargo run --release --quiet --example cluster -- --rounds $(ROUNDS) --seed $(SEED) --only $(ONLY) \
		$(if $(REGISTER_EACH),--register-each) $(if $(SERVER),--server $(SERVER))

CLIENTS ?= 24
cached: build ## Compare each reply of a bounded cache with a plain server, under stress; SECONDS, CLIENTS, SEED, SERVER
	cargo run --release --quiet --example cached -- --seconds $(or $(SECONDS),60) --clients $(CLIENTS) --seed $(SEED) \
		$(if $(SERVER),--server $(SERVER))

through: build ## Kill servers under MODE THROUGH, count replies; ONLY, ROUNDS, CLIENTS, SECONDS, SEED, SERVER
	cargo run --release --quiet --example through -- --only $(ONLY) --rounds $(ROUNDS) --clients $(CLIENTS) \
		--seconds $(or $(SECONDS),60) --seed $(SEED) $(if $(SERVER),--server $(SERVER))

redis-suite: build ## Run Redis's own test suite with every key registered; ONLY=reads,cold,through, UNITS
	@scripts/setup tcl
	@scripts/redis-suite $(if $(filter-out all,$(ONLY)),--only $(ONLY)) $(UNITS)

SCALE ?= 1
bench: build ## Measure cost, rates and lag with and without the module; ONLY=cost,lag SCALE=0.1
	cargo build --release --example empty_subscriber
	cargo run --release --quiet --example bench -- --scale $(SCALE) $(if $(ONLY),--only $(ONLY))

fuzz: build ## Fuzz the parsers; ONLY=rdb,internal,registration,nodes,documents,replies,restore MINUTES=10
	@scripts/fuzz $(ONLY) $(or $(MINUTES),10)

COMMANDS ?= 20000
oracle: build ## Compare after random commands; SEED, COMMANDS or MINUTES, SERVER
	cargo run --release --quiet --example oracle -- --seed $(SEED) --commands $(COMMANDS) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(SERVER),--server $(SERVER))

commands: build ## Write docs/REDIS-COMMANDS.md anew from Redis 8.2 and Valkey 9.1
	@scripts/fetch-servers matrix
	cargo run --release --quiet --example oracle -- --table docs/REDIS-COMMANDS.md \
		--server .servers/redis-8.2/redis-server --server .servers/valkey-9.1/valkey-server

dist: ## Build the release into dist/: .tar.gz, .deb, .rpm, debug information, SHA256SUMS
	@scripts/setup package
	@scripts/dist

test-package: dist ## Install the .deb of dist/, with Redis on Debian 12, and run it with MongoDB
	@scripts/fetch-servers
	@scripts/test-package

test-metrics: build ## Test metrics, alerts and dashboard with Debian's Prometheus and redis_exporter
	@scripts/fetch-prometheus
	@scripts/python-tests metrics test_metrics.py

test-wb-top: build ## Test wb-top in a terminal, with the libraries of Debian 12 and with newer ones
	@scripts/setup wb-top
	@scripts/python-tests wb-top-debian12 'test_wb_top*.py'
	@scripts/python-tests wb-top-newest 'test_wb_top*.py'

test-clients: build ## Run the examples of docs/CLIENTS.md and compare MongoDB with the page
	@scripts/setup node
	@scripts/test-clients

clean: ## Remove everything built and fetched
	cargo clean
	rm -rf .servers .tools dist $(MOVIE_APP)/node_modules
