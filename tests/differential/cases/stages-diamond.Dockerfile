FROM diff-base AS top
RUN echo top > /top
FROM top AS left
RUN echo left > /left
FROM top AS right
RUN echo right > /right
FROM scratch
COPY --from=left /top /left /
COPY --from=right /right /
