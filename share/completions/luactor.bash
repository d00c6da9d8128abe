# Completion of luactor for bash.

_luactor() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev= word i command=
  ((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD - 1]}

  # The first word that is no option, nor the value of one, is the script or tool.
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      -e | -l | --schedulers | --preempt | --max-heap | --max-processes | \
        --name | --cookie | --cookie-file | --listen | --tls | --tls-key | \
        --tls-ca) ((i++)) ;;
      --) command=${COMP_WORDS[i + 1]:- } && break ;;
      -*) ;;
      *) command=$word && break ;;
    esac
  done

  COMPREPLY=()
  if [[ -n $command ]]; then
    case $command in
      test) [[ $cur == -* ]] && mapfile -t COMPREPLY < <(compgen -W \
        "--timeout --filter --filter-out --tags --exclude-tags --list --shuffle
         --seed --no-keep-going --output --pattern --helper --verbose
         --directory --help" -- "$cur") ;;
      new | check) [[ $cur == -* ]] &&
        mapfile -t COMPREPLY < <(compgen -W "--help" -- "$cur") ;;
    esac
    ((${#COMPREPLY[@]})) || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    return
  fi
  case $prev in
    --preempt)
      mapfile -t COMPREPLY < <(compgen -W "tick count count:" -- "$cur")
      return ;;
    --cookie-file | --tls | --tls-key | --tls-ca)
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return ;;
    -e | -l | --schedulers | --max-heap | --max-processes | --name | \
      --cookie | --listen) return ;;
  esac
  case $cur in
    -*) mapfile -t COMPREPLY < <(compgen -W "-e -l -i -v -E -W -- --schedulers
      --preempt --max-heap --max-processes --name --cookie --cookie-file
      --listen --tls --tls-key --tls-ca --version -h --help" -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(
      compgen -W "test new check" -- "$cur"
      compgen -f -X '!*.lua' -- "$cur"
      compgen -d -S / -- "$cur") ;;
  esac
}

complete -o filenames -F _luactor luactor
