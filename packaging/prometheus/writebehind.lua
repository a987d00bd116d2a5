-- For redis_exporter: redis_exporter -script writebehind.lua
-- The lines of WB.METRICS as pairs of series and value. prometheus.yml turns them into metrics. Without the
-- module, or without the right to WB.METRICS, there are none. Every prefix costs the server about 50 us a scrape,
-- most of it for this script: the textfile collector is cheaper for many.
local text = redis.pcall('WB.METRICS', 'PREFIXES', 20)
local result = {}
if type(text) == 'string' then
    for line in string.gmatch(text, '[^\n]+') do
        local series, value = string.match(line, '^([^#].*) (%S+)$')
        if series then
            table.insert(result, series)
            table.insert(result, value)
        end
    end
end
return result
