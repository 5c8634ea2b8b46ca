#!/usr/bin/perl
use strict;
use warnings;

my %lengths;
while (my $word = <STDIN>) {
    chomp $word;
    $lengths{ length $word }++;
}
my ($longest) = sort { $b <=> $a } keys %lengths;
my $total = 0;
$total += $_ for values %lengths;
print "longest $longest of $total\n";
