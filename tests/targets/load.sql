-- A load for sqlite3 in memory: inserts, indexes, a join, updates and deletes.
CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, city TEXT, amount REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO people SELECT i, 'name-' || (i * 7919 % 4001), 'city-' || (i % 97), i * 1.25 FROM n;
CREATE INDEX by_name ON people(name);
CREATE INDEX by_city ON people(city, amount);
SELECT city, count(*), sum(amount) FROM people GROUP BY city ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM people a JOIN people b ON a.name = b.name;
UPDATE people SET name = upper(name) WHERE id % 3 = 0;
DELETE FROM people WHERE id % 5 = 0;
SELECT count(*), min(name), max(name) FROM people;
