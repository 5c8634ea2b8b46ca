FROM diff-base
ENV A=1 B="two words"
ARG C=from-arg
RUN env | grep -E '^(A|B|C|PATH|HOME|PWD|USER)=' | sort > /env
