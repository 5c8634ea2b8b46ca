FROM diff-base
WORKDIR /not/there
RUN pwd > f
