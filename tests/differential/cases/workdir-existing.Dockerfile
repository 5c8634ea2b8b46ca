FROM diff-base
RUN mkdir -m 0700 /w && chown alice /w
WORKDIR /w
RUN pwd > here
