FROM diff-base
RUN dd if=/dev/zero of=/zeros bs=1024 count=3000 2>/dev/null && : > /none && truncate -s 100000 /sparse
