FROM diff-base
RUN --mount=type=cache,target=/diff-same echo x > /diff-same/f
RUN --mount=type=cache,id=/diff-same,target=/o cat /o/f > /seen
