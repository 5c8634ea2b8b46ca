FROM diff-base
RUN echo ${HTTP_PROXY:-none} > /p
# with: --build-arg HTTP_PROXY=http://127.0.0.1:9
