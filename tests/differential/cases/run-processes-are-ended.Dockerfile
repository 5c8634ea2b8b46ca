FROM diff-base
RUN sleep 60 & echo started > /f
