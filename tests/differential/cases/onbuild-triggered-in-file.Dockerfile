FROM diff-base AS parent
ONBUILD RUN echo triggered > /triggered
ONBUILD ENV TRIGGERED=yes
ONBUILD COPY a.txt /from-trigger
FROM parent
RUN cat /triggered > /copy
