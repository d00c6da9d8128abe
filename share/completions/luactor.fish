# Completion of luactor for fish.

function __luactor_needs_first
    set -l words (commandline -opc)
    set -e words[1]
    set -l takes_value -e -l --schedulers --preempt --max-heap --max-processes \
        --name --cookie --cookie-file --listen --tls --tls-key --tls-ca
    while set -q words[1]
        if contains -- $words[1] $takes_value
            set -e words[1]
        else if not string match -q -- '-*' $words[1]
            return 1
        end
        set -e words[1]
    end
    return 0
end

function __luactor_tool
    not __luactor_needs_first; and contains -- $argv[1] (commandline -opc)
end

set -l first __luactor_needs_first
complete -c luactor -n $first -a test -d 'Run specs'
complete -c luactor -n $first -a new -d 'Make a project'
complete -c luactor -n $first -a check -d 'Look for mistakes'
complete -c luactor -n $first -s e -x -d 'Run a chunk'
complete -c luactor -n $first -s l -x -d 'Require a module'
complete -c luactor -n $first -s i -d 'Enter a REPL'
complete -c luactor -n $first -s v -d 'Show the version'
complete -c luactor -n $first -s E -d 'Ignore environment variables'
complete -c luactor -n $first -s W -d 'Turn warnings on'
complete -c luactor -n $first -l schedulers -x -d 'Number of scheduler threads'
complete -c luactor -n $first -l preempt -x -a 'tick count count:' -d 'What ends a slice'
complete -c luactor -n $first -l max-heap -x -d 'Memory limit of every process'
complete -c luactor -n $first -l max-processes -x -d 'Limit of the host'
complete -c luactor -n $first -l name -x -d 'Be a node of this name'
complete -c luactor -n $first -l cookie -x -d 'What nodes must have in common'
complete -c luactor -n $first -l cookie-file -r -d 'File that holds the cookie'
complete -c luactor -n $first -l listen -x -d 'Where other nodes connect'
complete -c luactor -n $first -l tls -r -d 'Certificate of the node'
complete -c luactor -n $first -l tls-key -r -d 'Its key'
complete -c luactor -n $first -l tls-ca -r -d 'Certificates of who may connect'
complete -c luactor -n $first -l version -d 'Show the version and exit'
complete -c luactor -n $first -s h -l help -d 'Show help and exit'
complete -c luactor -n '__luactor_tool test' -l timeout -x -d 'Seconds for a file'
complete -c luactor -n '__luactor_tool test' -l filter -x -d 'Only tests whose name matches'
complete -c luactor -n '__luactor_tool test' -l tags -x -d 'Only these'
complete -c luactor -n '__luactor_tool test' -l exclude-tags -x -d 'Not these'
complete -c luactor -n '__luactor_tool test' -l list -d 'Names only'
complete -c luactor -n '__luactor_tool test' -l shuffle -d 'In another order'
complete -c luactor -n '__luactor_tool test' -l seed -x -d 'Of the order'
complete -c luactor -n '__luactor_tool test' -l no-keep-going -d 'End with the first file that fails'
complete -c luactor -n '__luactor_tool test' -l output -x -d 'Output library'
complete -c luactor -n '__luactor_tool test' -l verbose -d 'With tracebacks'
complete -c luactor -n '__luactor_tool test; or __luactor_tool new; or __luactor_tool check' -l help -d 'Show help'
