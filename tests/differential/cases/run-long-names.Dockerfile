FROM diff-base
RUN n=$(printf 'n%.0s' $(seq 1 200)) && mkdir -p /$n/$n/$n && echo x > /$n/$n/$n/$n && ln -s /$n/$n/$n/$n /link
