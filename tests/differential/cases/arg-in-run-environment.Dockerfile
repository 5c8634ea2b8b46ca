FROM diff-base
ARG A=1
RUN env | grep ^A= > /before
ENV A=2
RUN env | grep ^A= > /after
