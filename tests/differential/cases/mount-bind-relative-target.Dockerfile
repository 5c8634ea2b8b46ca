FROM diff-base
WORKDIR /w
RUN --mount=source=dir,target=sub ls sub > list
