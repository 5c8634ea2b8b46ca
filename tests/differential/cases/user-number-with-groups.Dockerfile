FROM diff-base
USER 1000
RUN id > /tmp/id
USER 1000:50
RUN id > /tmp/id2
