create table pots (name text);
