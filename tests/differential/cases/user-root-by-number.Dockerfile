FROM diff-base
USER 0:0
RUN id > /id
