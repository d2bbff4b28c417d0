# The image that `cargo xtask image --release` writes without an engine, for those who have one.
FROM rust:1.95-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --package operator --package server --package toolkit --package webhook --package cli \
 && mkdir -p /out/etc /out/tmp && chmod 1777 /out/tmp \
 && cd "target/$(rustc --print host-tuple)/release" && cp operator server toolkit webhook kubectl-pilothouse /out/ \
 && printf 'root:x:0:0::/:/bin/sh\nnobody:x:65532:65532::/:/bin/false\n' > /out/etc/passwd \
 && printf 'root:x:0:\nnobody:x:65532:\n' > /out/etc/group

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
ENTRYPOINT ["/operator"]
