FROM diff-base
RUN --mount=type=bind,src=dir,dst=/one --mount=type=bind,source=other,destination=/two ls /one /two > /list
