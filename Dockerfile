# Plumbline's images. Each is one static binary with CA certificates, works under any UID with group 0, and writes
# nothing to its own file system.
#
#   docker build --target controller .    likewise: state, runner
#
# GO_IMAGE   where the compiler comes from; `make images` passes scratch and mounts the machine's own Go, so that
#            no registry is needed. RUN is in its exec form with absolute paths: such an image has no shell.
# BASE_IMAGE what the images stand on. Whoever needs a shell or git in a runner names an image that has them.
# ENGINE     terraform or tofu; empty takes whichever can be had, terraform first.
# GOPROXY    passed on to the compiler.
ARG GO_IMAGE=golang:1.26
ARG BASE_IMAGE=scratch

FROM ${GO_IMAGE} AS source
ARG GOPROXY
ENV CGO_ENABLED=0 GOFLAGS=-trimpath GOTOOLCHAIN=local GOPATH=/go HOME=/home/build \
    PATH=/opt/engine:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /src
COPY go.mod go.sum ./
RUN ["/usr/local/go/bin/go", "mod", "download"]
COPY . .
RUN ["/usr/local/go/bin/go", "run", "./images/cmd/images", "rootfs", "/rootfs"]

FROM source AS build-controller
RUN ["/usr/local/go/bin/go", "build", "-ldflags=-s -w", \
     "-o", "/rootfs/usr/local/bin/plumbline-controller", "./cmd/controller"]

FROM source AS build-state
RUN ["/usr/local/go/bin/go", "build", "-ldflags=-s -w", "-o", "/rootfs/usr/local/bin/plumbline-state", "./cmd/state"]

FROM source AS engine
ARG ENGINE
RUN ["/usr/local/go/bin/go", "run", "./images/cmd/images", "engine", "/rootfs/usr/local/bin"]
RUN ["/usr/local/go/bin/go", "run", "./images/cmd/images", "providers", "/rootfs/plugins"]

FROM engine AS build-runner
RUN ["/usr/local/go/bin/go", "build", "-ldflags=-s -w", "-o", "/rootfs/usr/local/bin/plumbline-driver", "./cmd/driver"]

FROM ${BASE_IMAGE} AS controller
COPY --from=build-controller /rootfs/ /
USER 65532:0
ENTRYPOINT ["/usr/local/bin/plumbline-controller"]

FROM ${BASE_IMAGE} AS state
COPY --from=build-state /rootfs/ /
USER 65532:0
ENTRYPOINT ["/usr/local/bin/plumbline-state"]

FROM ${BASE_IMAGE} AS runner
# The engine and the providers are large and rarely change: a layer of their own, below the driver's.
COPY --from=engine /rootfs/ /
COPY images/modules/ /modules/
COPY --from=build-runner /rootfs/usr/local/bin/plumbline-driver /usr/local/bin/plumbline-driver
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:0
ENTRYPOINT ["/usr/local/bin/plumbline-driver"]
