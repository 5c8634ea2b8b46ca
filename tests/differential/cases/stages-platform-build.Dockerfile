FROM --platform=$BUILDPLATFORM diff-base AS b
ARG TARGETARCH
RUN echo $TARGETARCH > /arch
FROM scratch
COPY --from=b /arch /
