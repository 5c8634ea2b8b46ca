FROM diff-base
RUN --mount=source=a.txt,target=/f ["/bin/cp", "/f", "/copied"]
