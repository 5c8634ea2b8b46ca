FROM diff-base
RUN { echo b; echo a; } | sort > /out 2>&1
