FROM diff-base
USER alice
ADD archives/plain.tar /home/alice/
