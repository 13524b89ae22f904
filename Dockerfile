# SPDX-License-Identifier: Apache-2.0
# The container image: docker build -t tlsfan .
# See "Container" in packaging/README.md for what to do with it, and tests/machines for how it is tested.

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY packaging/apt.sh packaging/
RUN . packaging/apt.sh && need_packages $BUILD_PACKAGES
COPY CMakeLists.txt ./
COPY proxy proxy
RUN cmake -S . -B /build -DCMAKE_BUILD_TYPE=Release && \
    cmake --build /build -j "$(nproc)" --target tlsfan && \
    mkdir /out && strip -o /out/tlsfan /build/tlsfan
# The packages that its libraries come from, so that nobody has to list them. Those that are found
# in no package would end the build.
RUN set -e; for library in $(ldd /out/tlsfan | sed -n 's/.* => \([^ ]*\) .*/\1/p'); do \
        dpkg-query -S "*/${library##*/}"; \
    done >/tmp/owners; \
    sed 's/:.*//' /tmp/owners | sort -u >/out/packages; cat /out/packages

# nftables is for the init container of a sidecar (packaging/kubernetes/sidecar-transparent.yaml), which then needs no
# second image: 3 MB with its libraries, and without NET_ADMIN it can do nothing.
FROM debian:bookworm-slim
COPY --from=build /out/packages /usr/share/tlsfan/packages
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates nftables $(cat /usr/share/tlsfan/packages) && \
    apt-get clean && \
    rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/*.log /var/cache/debconf/*-old
COPY LICENSE /usr/share/doc/tlsfan/copyright
COPY --from=build /out/tlsfan /usr/bin/tlsfan

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tlsfan" \
      org.opencontainers.image.description="HTTPS forward proxy for programs that cannot do HTTPS well" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"

# Published ports are reached from the engine's network, which is a private one.
ENV TLSFAN_LISTEN=0.0.0.0:3128 \
    TLSFAN_SERVICE=0.0.0.0:3129 \
    TLSFAN_CLIENT_ALLOW=loopback,private
EXPOSE 3128 3129

# A number, so that an engine can tell that it is not root. It owns nothing and needs no name.
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 CMD ["tlsfan", "--check-health"]
ENTRYPOINT ["tlsfan"]
CMD []
