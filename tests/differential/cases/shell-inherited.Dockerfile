FROM diff-base AS p
SHELL ["/bin/busybox", "sh", "-c"]
FROM p
RUN echo $0 > /shell
CMD x
