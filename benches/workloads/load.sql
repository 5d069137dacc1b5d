-- An in-memory load: two tables, two indexes, a join, a grouping. About 2.2 million events.
CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, score REAL, note TEXT);
CREATE TABLE visits(person INTEGER, day INTEGER, place TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
    INSERT INTO people SELECT i, printf('person-%06d', i * 7919 % 120000), i * 0.25,
        replace(hex(zeroblob((i * 2654435761 >> 9) % 90)), '00', i % 53) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
    INSERT INTO visits SELECT i * 31 % 120000 + 1, i % 365, 'place ' || (i % 97) FROM n;
CREATE INDEX people_name ON people(name);
CREATE INDEX visits_person ON visits(person, day);
SELECT count(*), sum(length(name)), max(note) FROM people WHERE name > 'person-05';
SELECT place, count(*), round(sum(score), 2) FROM visits JOIN people ON person = id
    GROUP BY place ORDER BY 2 DESC, 1 LIMIT 3;
