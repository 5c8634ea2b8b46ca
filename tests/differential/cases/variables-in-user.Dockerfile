FROM diff-base
ARG U=alice
USER $U:${G:-staff}
RUN id > /tmp/id
