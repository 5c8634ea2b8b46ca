FROM scratch
COPY --from=diff-base /bin/busybox /bin/busybox
RUN ["/bin/busybox", "true"]
RUN ["/bin/busybox", "touch", "/etc-is-clean"]
