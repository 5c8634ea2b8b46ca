FROM diff-base AS p
ONBUILD ENV A=1
ONBUILD RUN echo $A > /a
ONBUILD WORKDIR /w
ONBUILD USER alice
FROM p
RUN id -u > /tmp/id
